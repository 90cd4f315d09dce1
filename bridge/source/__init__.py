"""Reading: pages, walks, positions; how nothing is lost between the API and the journal."""
