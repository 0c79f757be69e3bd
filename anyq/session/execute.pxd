# There is nothing to say of its functions: what they call is compiled, and has its own declarations.
