"""The subcommands of `megactor-datagen` that make, inspect and maintain data sets."""
