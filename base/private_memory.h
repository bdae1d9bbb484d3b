// What lies in this process's memory stays there: keys, prompts, passwords.
#pragma once

namespace tollgate::base {

// From now on no core file is written of this process, and no other process may read its memory, environment or descriptors but root's, one
// of the same user included. Call it first, before anything secret is read. Programs that are started later have no core files either.
void KeepMemoryPrivate();

}  // namespace tollgate::base
