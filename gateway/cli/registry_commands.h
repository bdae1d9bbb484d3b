// The commands of `tollgate models` that work on the registry. Room-internal.
#pragma once

#include "gateway/cli/context.h"

namespace tollgate::cli {

// The registry's models, for `models list --registered`; `retired`: those that are retired too.
void ListRegistered(Context& context, bool retired);

// add, show, load, unload, restrict, open, pull, retire. `group` is `models`; the context must outlive it.
void AddRegistryCommands(CLI::App& group, Context& context);

// alias, aliases, rollback, unalias.
void AddAliasCommands(CLI::App& group, Context& context);

// devices.
void AddDeviceCommands(CLI::App& group, Context& context);

}  // namespace tollgate::cli
