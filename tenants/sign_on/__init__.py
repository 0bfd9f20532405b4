"""Single sign-on: the identity providers of an agency, who is who there, and the way through one."""
