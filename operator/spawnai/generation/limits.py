"""The size of a generated app: what an answer may bring, and what the judge reads."""

MAX_FILES = 40
MAX_FILE_BYTES = 256 * 1024
MAX_BUNDLE_BYTES = 1024 * 1024
