"""The strategy policy: YAML to typed models, checked against the catalog and the columns of profiles."""
