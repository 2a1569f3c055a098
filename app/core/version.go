package core

// Version is the version of this build. The build sets it (see ./dev); a program
// built in another way says "dev".
var Version = "dev"
