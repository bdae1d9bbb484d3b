// Nobody can make a program end itself by asking it to: a test's program links its own definition, which the linker takes before this one.
//
// Tested by tests/inference/script_engine_test.cpp.
#include "inference/engines/script_engine.h"

namespace tollgate::inference {

bool ScriptMayAbort() { return false; }

}  // namespace tollgate::inference
