-- ping: answers "!ping hello" with "pong hello", and "!ping" with "pong".
-- The simplest way to see that a message comes in and an answer goes out.

wildcat.on("message", { prefix = "!ping" }, function(msg)
  local rest = msg.text:match("^!ping%s+(.-)%s*$")
  if rest and rest ~= "" then
    msg:reply("pong " .. rest)
  elseif msg.text:match("^!ping%s*$") then
    msg:reply("pong")
  end
end)
