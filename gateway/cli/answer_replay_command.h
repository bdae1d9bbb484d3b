// `tollgate audit replay`. Room-internal.
#pragma once

#include "gateway/cli/context.h"

namespace CLI {
class App;
}

namespace tollgate::cli {

void AddAnswerReplayCommand(CLI::App& audit, Context& context);

}  // namespace tollgate::cli
