// Clients that do not take their answers.
#include "tests/gateway/admin/served.h"
#include "tests/gateway/grpc/stalled_client.h"

using namespace tollgate;

TEST_CASE("An admin call whose client grants no window is ended") {
  test::Served world(std::chrono::milliseconds(200));
  testing::StalledClient client(static_cast<std::uint16_t>(world.port));
  CHECK(client.AwaitReset(client.Call("/tollgate.v1.Directory/ListOrgs", world.texts["admin"])));
  CHECK_FALSE(client.got_message());
}
