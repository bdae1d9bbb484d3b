// Who stands behind the proxies that an operator trusts: the client's address as X-Forwarded-For has it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/networks.h"

namespace tollgate::net {

// The client's address of a request that came from `peer`. `forwarded`: the values of X-Forwarded-For in their order, each a list with
// commas, to which every proxy appends whom it was asked by. They are read from the right, for as long as who wrote an entry is of
// `trusted`; what stands left of that anybody could have written. An entry that is no address ends it too: then the last address known is
// told.
std::string ClientOf(std::string_view peer, std::span<const std::string_view> forwarded, const base::Networks& trusted);

}  // namespace tollgate::net
