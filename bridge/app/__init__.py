"""The application: what the commands run. Only `parts` builds concrete parts."""
