"""What the account holds: one module for each kind of resource, none of them aware of HTTP."""
