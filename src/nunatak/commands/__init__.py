"""What people ask of a results tree: is it whole, what differs, what would run and why."""
