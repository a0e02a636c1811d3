"""How a product is judged: pure functions on arrays."""
