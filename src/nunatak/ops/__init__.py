"""Operations that a recipe names: pure functions on arrays."""
