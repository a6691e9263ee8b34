"""Update policy: layers, maturity, suppression, the policy actions, lifecycle stamps, thresholds, eligibility. Pure."""
