"""The stages: one module and one public function each, ``open -> pure function -> write``."""
