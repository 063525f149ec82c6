"""What a front end needs to know to show lists, forms and imports of every resource, from the declarations alone."""
