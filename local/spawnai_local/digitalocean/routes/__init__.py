"""DigitalOcean's paths: one module for each kind of resource, and the table of all of them."""
