-- ping: answers "!ping hello" with "pong hello", and "!ping" with "pong".
-- The simplest way to see that a message comes in and an answer goes out.

wildcat.on("message", { prefix = "!ping" }, function(msg)
  -- Not "^!ping%s+(.-)%s*$": that tries the end anew at every space of a long run.
  local rest = msg.text:match("^!ping%s+(.*)$")
  local words = rest and rest:match("^.*%S")
  if words then
    msg:reply("pong " .. words)
  elseif rest or msg.text == "!ping" then
    msg:reply("pong")
  end
end)
