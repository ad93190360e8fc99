"""The basis of all services: transitions, trees and their locks, launch records."""
