"""Update policy: layers, maturity, suppression, thresholds, eligibility. Pure."""
