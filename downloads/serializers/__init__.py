"""Wire names: `params` reads every spelling of a request, `inputs` validates it, `outputs` renders the bodies."""
