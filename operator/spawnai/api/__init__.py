"""What users write and read: the custom resources of group ``spawn-ai.com`` as models."""
