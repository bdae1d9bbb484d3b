// The scripted engine: deterministic, no model file, hundreds of thousands of tokens a second. For tests, and for measuring what the
// gateway itself costs. What it answers stands in script.h. A prompt token is four bytes of ASCII, or three bytes of anything; a message
// costs four more, the opening of the reply three.
#pragma once

#include <memory>

#include "base/clock.h"
#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

std::unique_ptr<Engine> MakeScriptedEngine(const ModelOptions& model, const base::Clock& clock);

// Whether a script's !abort ends the process: in no program but those that tests build for it. Else it is !fail.
bool ScriptMayAbort();

}  // namespace tollgate::inference
