"""What only notebooks use: session, plots, panels, checks."""
