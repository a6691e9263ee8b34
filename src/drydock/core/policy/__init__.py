"""Update policy: layers, maturity, suppression, the policy actions, thresholds, eligibility. Pure."""
