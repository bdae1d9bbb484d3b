// What somebody changed in the sample company that can make a step of the demo fail, and the command that takes it back. Room-internal.
#pragma once

#include <string>
#include <vector>

#include "tollgate/v1/directory.pb.h"
#include "tollgate/v1/policy.pb.h"
#include "tollgate/v1/system.pb.h"

namespace tollgate::dev {

// The sample company as it stands.
struct CompanyNow {
  v1::ListStopsReply stops;
  v1::ListTeamsReply teams;
  v1::ListProjectsReply projects;
  v1::ListGrantsReply grants;
  v1::ListQuotasReply quotas;
  v1::ListPoliciesReply policies;
};

struct Leftover {
  std::string what;     // "limit of 5 tokens/minute on acme/search"
  std::string command;  // Without the program's name: "quota remove tokens/minute --team search".
};

// What differs from the sample. Pure.
std::vector<Leftover> FindLeftovers(const CompanyNow& now);

}  // namespace tollgate::dev
