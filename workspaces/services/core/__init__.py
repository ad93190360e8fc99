"""What all services build on: the transition, trees, locked rows, launch records."""
