// The descriptors that the process may have open, and what each kind of listener leaves of them to what matters more than its newcomers.
#pragma once

#include <cstdint>

namespace tollgate::net {

// The API's is closed to newcomers first: files, databases and servers of models need some, and who stops something or looks into what is
// wrong has to get in meanwhile. See ListenerOptions::descriptors_reserved.
inline constexpr int kReservedByApi = 96;
inline constexpr int kReservedByAdmin = 48;
inline constexpr int kReservedByProbes = 32;

// Raises the process's own limit as far as it may. The limit then, or the greatest number where there is none. Children inherit it.
std::int64_t RaiseDescriptorLimit();

}  // namespace tollgate::net
