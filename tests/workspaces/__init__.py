"""Tests of workspaces, in the rooms of the code; what several rooms use stands here."""
