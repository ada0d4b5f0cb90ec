"""The proof that nothing is lost: faults at random from a seed, and a judge who believes nobody.

`manage.py torture` starts server processes of its own, a misbehaving upstream and dozens of clients, injects faults while
they talk, and judges every promise from the clients' own records, the database and the upstream's records.

    plan     pure: what a seed says is asked, how each question is answered, which faults come when
    world    the servers, their services and the people
    clients  people in front of tabs, who do what people do
    faults   breaking things, and mending them
    inside   what a server process tells about itself
    records  what was seen, said and kept
    judge    pure: records in, verdicts out
    report   pure: verdicts and figures as a table
"""
