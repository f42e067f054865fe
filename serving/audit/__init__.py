"""What an auditor reads of a decision: its inputs, its outcome, its replay."""
