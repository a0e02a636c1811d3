"""Where data come from: the catalogue, fetching, readers and the synthetic world."""
