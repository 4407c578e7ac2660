"""Mirror for Home Assistant: everything is shown there, nothing depends on it."""
