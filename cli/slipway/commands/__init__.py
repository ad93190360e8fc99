"""The commands of `slipway`: each translates its arguments, calls the API, and shows the answer."""
