"""Tags: parsing, families, order, filters and the choice of an update candidate. Pure."""
