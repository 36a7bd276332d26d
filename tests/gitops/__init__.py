"""What Flux's own controllers make of us: `make gitops`, which is not a part of `make test`."""
