// The whole program, but for one thing: a script's !abort ends the process that the scripted engine runs in. For the tests of
// pool.isolation; no program that is shipped can be told to.
#include "inference/engines/script_engine.h"

bool tollgate::inference::ScriptMayAbort() { return true; }
