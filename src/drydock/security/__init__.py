"""Vulnerability scans, the gate of updates, signatures and SBOM documents (security.md).

Programs do the looking: `scanners/` and `signatures/` are the families, a member is one module and one line of its list.
Not here: which images an update may pull (`updates/`), messages about findings (`notify/`), routes (`api/`).
"""
