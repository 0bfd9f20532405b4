"""`python -m migrations`: bring the database to the head."""

from migrations.run import head, main

main()
print(f"database is at {head()}")
