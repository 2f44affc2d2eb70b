"""Reports of a training: logs, costs, tables and plots."""
