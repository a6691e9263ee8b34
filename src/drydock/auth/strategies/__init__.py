"""The ways to sign in: one module per member, in the order in which they are asked.

`basic` checks names and passwords, `oidc` an identity provider; anonymous mode is `caller.ANONYMOUS` and has no state.
"""
