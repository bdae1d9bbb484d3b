// `tollgate policy approvals` and `approve`. Room-internal.
#pragma once

#include "gateway/cli/context.h"

namespace CLI {
class App;
}

namespace tollgate::cli {

void AddApprovalCommands(CLI::App& policy, Context& context);

}  // namespace tollgate::cli
