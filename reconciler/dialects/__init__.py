"""What engines speak: their commands' texts, their protocols, their forms. Engines import it, it imports no engine."""
