"""`python -m slipway`, the same as the command `slipway`."""

from slipway.app import main

if __name__ == "__main__":
    main()
