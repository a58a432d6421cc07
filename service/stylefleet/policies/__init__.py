"""What else than its work may end or hold up a run: one small pure function each, composed in `reconcile`."""
