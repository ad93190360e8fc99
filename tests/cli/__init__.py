"""The command `slipway`, whose package is below cli/."""
