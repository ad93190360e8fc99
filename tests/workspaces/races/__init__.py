"""Operations that meet: forced orders, free runs, random lives of a fleet."""
