// What a model's process does from start to end: serves the calls that come on the socket it was started with.
#pragma once

#include "inference/make_engine.h"

namespace tollgate::inference {

// To be called by main when the first argument is kWorkerCommand (worker/process.h); what it gives back is main's to return. `make` makes
// the model's engine: tests have their own.
int ServeWorker(const EngineFactory& make = MakeEngine);

}  // namespace tollgate::inference
