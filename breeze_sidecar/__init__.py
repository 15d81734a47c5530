"""A local proxy that gives any application authenticated access to the Breeze GraphQL API."""

__version__ = "0.1.0"
